"""The authority listener: answers the verify requests of other servers about our keys itself."""
