#!/bin/sh
# Run a command with newer servers from Debian's backports laid over /usr, for it alone:
#
#   tests/interop/with-backports.sh "ejabberd prosody" python -m pytest tests/interop
#
# Nothing is installed: the packages are unpacked into a directory that is removed afterwards and
# mounted in a mount namespace. Needs root, and the release's backports on the mirror.
set -eu

packages=$1
shift
if [ "${WITH_BACKPORTS_ROOT:-}" ]; then # the second half, inside the namespace
    mount -t overlay overlay -o "lowerdir=$WITH_BACKPORTS_ROOT/usr:/usr" /usr
    for old in /usr/lib/*-linux-gnu*/ejabberd-[0-9]*; do
        # Erlang would otherwise find two of them.
        if [ -d "$WITH_BACKPORTS_ROOT/usr/lib" ] && [ -d "$old" ] &&
            ls -d "$WITH_BACKPORTS_ROOT"/usr/lib/*-linux-gnu*/ejabberd-[0-9]* >/dev/null 2>&1 &&
            [ ! -d "$WITH_BACKPORTS_ROOT$old" ]; then
            mount -t tmpfs none "$old"
        fi
    done
    exec "$@"
fi

. /etc/os-release
# The mirror this machine already takes the release itself from.
mirror=${DEBIAN_MIRROR:-$(apt-get indextargets --format '$(REPO_URI) $(CODENAME)' |
    sed -n "s|/* $VERSION_CODENAME\$||p" | head -n 1)}
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT INT TERM
mkdir -p "$place/lists/partial" "$place/cache/archives/partial" "$place/root" "$place/debs"
for suite in "$VERSION_CODENAME" "$VERSION_CODENAME-backports"; do
    echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $mirror $suite main"
done >"$place/sources.list"
apt="-q -o Dir::Etc::sourcelist=$place/sources.list -o Dir::Etc::sourceparts=/dev/null
    -o Dir::State::lists=$place/lists -o Dir::Cache=$place/cache -o APT::Sandbox::User=root"
# shellcheck disable=SC2086  # lists of words
{
    apt-get $apt update
    new=$(apt-get $apt -t "$VERSION_CODENAME-backports" -s install $packages |
        sed -n 's/^Inst \([^ ]*\) .*/\1/p')
    cd "$place/debs"
    apt-get $apt -t "$VERSION_CODENAME-backports" download $new
    cd - >/dev/null
} >&2
for package in "$place"/debs/*.deb; do
    dpkg -x "$package" "$place/root"
done
WITH_BACKPORTS_ROOT=$place/root unshare -m "$0" "$packages" "$@"
