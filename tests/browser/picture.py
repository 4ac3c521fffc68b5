"""The picture in the README: the demo's push-budget experiment as a browser shows it. `make picture` writes it anew.

The demo is played for it, as the code of now plays it. Somebody opens the link that it prints, and goes to the
experiment from there.
"""

import argparse
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Generator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

import httpx
from PIL import Image
from playwright.sync_api import Page, ViewportSize, sync_playwright

from tests.browser.conftest import PATIENCE_MS, program

PICTURE: Final = Path(__file__).parents[2] / "docs" / "readout.png"
SIZE: Final = ViewportSize(width=1280, height=1000)
BYTES_MAX: Final = 300_000
_PLAYED_S_MAX: Final = 900.0
_COLOURS: Final = 128


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--to", type=Path, default=PICTURE)
    target: Path = parser.parse_args().to
    with demo() as link, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program(), args=["--no-sandbox", "--disable-gpu"])
        page = browser.new_page(viewport=SIZE, color_scheme="light", locale="en-GB", timezone_id="Europe/Berlin")
        page.set_default_timeout(PATIENCE_MS)
        photograph(page, link, target)
        browser.close()
    print(f"{target}: {target.stat().st_size:,} bytes")


def photograph(page: Page, link: str, target: Path) -> None:
    """The first screen of the experiment, in few colours. Raises where it is too large for a README."""
    page.goto(link)
    page.get_by_role("button", name="Sign in").click()
    page.get_by_role("navigation", name="Pages").get_by_role("link", name="Experiments").click()
    page.get_by_role("link", name="push-budget").click()
    page.get_by_label("Verdict").wait_for()
    page.screenshot(path=target)
    with Image.open(target) as found:
        found.convert("RGB").quantize(_COLOURS, dither=Image.Dither.NONE).save(target, optimize=True)
    if target.stat().st_size >= BYTES_MAX:
        raise SystemExit(f"{target} has {target.stat().st_size:,} bytes, which is too many")


@contextmanager
def demo() -> Generator[str]:
    """A demo on a free port, ended by its pid; the link that signs in."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [str(Path(sys.executable).with_name("takt")), "demo", "--fresh", "--port", str(port)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env={**os.environ, "COLUMNS": "200"}) as process:
        try:
            link = _link(process)
            _await(link)
            yield link
        finally:
            process.send_signal(signal.SIGINT)
            process.wait(60)


def _link(process: "subprocess.Popen[str]") -> str:
    """From what the demo prints, once it answers."""
    printed, until = "", time.monotonic() + _PLAYED_S_MAX
    assert process.stdout
    for line in process.stdout:
        printed += line
        if "Ctrl-C" in line and (found := re.search(r"http://\S+/sign-in\?code=\S+", printed)):
            return found.group()
        if time.monotonic() > until:
            break
    raise SystemExit(f"the demo did not start:\n{printed}")


def _await(link: str) -> None:
    """Until somebody answers at its address: the link itself is good once."""
    until = time.monotonic() + PATIENCE_MS / 1_000
    while time.monotonic() < until:
        with suppress(httpx.TransportError):
            if httpx.get(link.partition("/sign-in")[0] + "/readyz").is_success:
                return
        time.sleep(0.1)
    raise SystemExit("the demo does not answer")


if __name__ == "__main__":
    main()
