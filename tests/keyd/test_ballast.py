"""The room that is kept for revoking, on a file system of 4 MiB."""

from sidecar.keyd.ballast import Ballast


def test_ballast_takes_what_room_there_is_and_the_rest_when_there_is_more(small_disk):
    path, fill = small_disk / "ballast", small_disk / "fill"
    fill.write_bytes(b"x" * (4 * 1024 - 100) * 1024)
    ballast = Ballast(path)
    assert path.stat().st_size == 64 * 1024
    fill.unlink()
    ballast.take_on()
    assert path.stat().st_size == 256 * 1024


def test_ballast_that_was_dropped_is_taken_on_again_in_part(small_disk):
    path, fill = small_disk / "ballast", small_disk / "fill"
    ballast = Ballast(path)

    def step():
        fill.write_bytes(b"x" * (4 * 1024 - 200) * 1024)

    ballast.make_room_for(step)
    assert path.stat().st_size == 128 * 1024
