"""A real JupyterLab driven by a real Chromium, so that notebooks are tested as a person uses them.

Nothing is written in the checkout and nothing leaves the machine: the server has every folder of its own in a
temporary one, and a page that asks for anything off the loopback has a problem, which `lab_page` reports.
"""

import json
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path
from urllib.parse import urlsplit

import nbformat

TOKEN = "vdpa-lab-test"
LOOPBACK = {"127.0.0.1", "localhost", "::1"}
INSIDE_THE_PAGE = {"about", "blob", "data"}
CHROMIUM_FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--disable-sync",
    "--disable-dev-shm-usage",
    "--disable-background-networking",
    "--disable-component-update",
    "--no-first-run",
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1, EXCLUDE localhost",
]
# A news pop-up would lie over the figure; a windowed notebook drops the cells that are out of sight.
LAB_SETTINGS = {
    "@jupyterlab/apputils-extension:notification": {
        "fetchNews": "false",
        "checkForUpdates": False,
        "doNotDisturbMode": True,
    },
    "@jupyterlab/notebook-extension:tracker": {"windowingMode": "none"},
}
# A kernel shown as idle may still lose the first "run all"; its info reply is what can be trusted.
WAIT_FOR_KERNEL = """async () => {
    await window.jupyterapp.restored;
    const panel = window.jupyterapp.shell.currentWidget;
    await panel.context.ready;
    await panel.sessionContext.ready;
    await panel.sessionContext.session.kernel.info;
    window.kernelErrors = [];
    panel.sessionContext.iopubMessage.connect((_, message) => {
        if (message.header.msg_type === 'error')
            window.kernelErrors.push(`${message.content.ename}: ${message.content.evalue}`);
    });
}"""
# Messages of widgets are on their way for a moment before the kernel says that it works on them.
SETTLE = """() => new Promise(done => {
    const { kernel } = window.jupyterapp.shell.currentWidget.sessionContext.session;
    let idle = 0;
    const look = setInterval(() => {
        idle = kernel.status === 'idle' ? idle + 1 : 0;
        if (idle > 4) { clearInterval(look); done(); }
    }, 30);
})"""
RUN_ALL = "() => window.jupyterapp.commands.execute('notebook:run-all-cells')"


def find_chromium() -> str | None:
    """The browser's path; VDPA_LAB_CHROMIUM names one that is not on the search path."""
    return os.environ.get("VDPA_LAB_CHROMIUM") or shutil.which("chromium") or shutil.which("chromium-browser")


def stays_on_this_machine(url: str) -> bool:
    parts = urlsplit(url)
    return parts.scheme in INSIDE_THE_PAGE or parts.hostname in LOOPBACK


class JupyterLab:
    """A JupyterLab server over `root`, running while the `with` block lasts."""

    def __init__(self, root: Path):
        self.root = root
        self.notebooks = root / "notebooks"
        self.log = root / "server.log"
        self.url = f"http://127.0.0.1:{_free_port()}"

    def __enter__(self):
        settings = self.root / "app-settings"
        settings.mkdir()
        (settings / "overrides.json").write_text(json.dumps(LAB_SETTINGS))
        options = {
            "ServerApp.root_dir": self.root,
            "ServerApp.ip": "127.0.0.1",
            "ServerApp.port": urlsplit(self.url).port,
            "ServerApp.port_retries": 0,
            "IdentityProvider.token": TOKEN,
            "LabApp.app_settings_dir": settings,
            "LabApp.expose_app_in_browser": True,
            "LabApp.extension_manager": "readonly",
        }
        command = [sys.executable, "-m", "jupyterlab", "--allow-root", "--no-browser"]
        command += [f"--{key}={value}" for key, value in options.items()]
        with self.log.open("w") as log:
            self._server = subprocess.Popen(command, stdout=log, stderr=log, env=self._environment())
        try:
            self._wait_until_it_answers()
        except BaseException:
            self._server.kill()
            raise
        return self

    def __exit__(self, *_):
        self._server.terminate()
        try:
            self._server.wait(20)
        except subprocess.TimeoutExpired:
            self._server.kill()

    def add_notebook(self, name: str, *cells: str) -> None:
        """A notebook made by a test, of code cells only."""
        notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(source) for source in cells])
        notebook.metadata.kernelspec = {"name": "python3", "display_name": "Python 3"}
        self.notebooks.mkdir(exist_ok=True)
        nbformat.write(notebook, self.notebooks / name)

    def stop_kernels(self) -> None:
        """Stop every kernel: one left running would serve whoever opens its notebook next."""
        for kernel in json.loads(self._ask("GET", "/api/kernels")):
            self._ask("DELETE", f"/api/kernels/{kernel['id']}")

    def forget_settings(self) -> None:
        """Forget what a page chose, its theme above all: the next page would open with it."""
        shutil.rmtree(self.root / "settings", ignore_errors=True)

    def _ask(self, method, path):
        headers = {"Authorization": f"token {TOKEN}"}
        request = urllib.request.Request(self.url + path, method=method, headers=headers)
        with urllib.request.urlopen(request, timeout=20) as answer:
            return answer.read()

    def _environment(self):
        own = {
            "JUPYTER_CONFIG_DIR": "config",
            "JUPYTER_DATA_DIR": "data",
            "JUPYTER_RUNTIME_DIR": "runtime",
            "JUPYTERLAB_SETTINGS_DIR": "settings",
            "JUPYTERLAB_WORKSPACES_DIR": "workspaces",
            "IPYTHONDIR": "ipython",
            "MPLCONFIGDIR": "matplotlib",
        }
        return os.environ | {name: str(self.root / folder) for name, folder in own.items()}

    def _wait_until_it_answers(self, seconds=60):
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            try:
                urllib.request.urlopen(f"{self.url}/api", timeout=1).close()
                return
            except OSError:
                if self._server.poll() is not None:
                    break
                time.sleep(0.1)
        raise RuntimeError(f"JupyterLab did not answer within {seconds} s:\n{self.log.read_text()[-3000:]}")


class LabPage:
    """One browser tab on one notebook; `problems` lists what went wrong in it, in words."""

    def __init__(self, page, lab: JupyterLab):
        self.page = page
        self.lab = lab
        self.problems: list[str] = []
        self._log_seen = lab.log.stat().st_size
        page.context.on("request", lambda request: self._check_address(request.url))
        page.on("websocket", lambda socket: self._check_address(socket.url))
        page.on("pageerror", lambda error: self.problems.append(f"page error: {error}"))
        page.on("console", self._check_console)

    def open(self, notebook: str) -> None:
        """Show a notebook of the lab's folder by itself, and wait until its kernel can take work."""
        self.page.goto(f"{self.lab.url}/doc/tree/notebooks/{notebook}?token={TOKEN}&reset")
        self.page.wait_for_function("window.jupyterapp?.shell?.currentWidget?.sessionContext", timeout=60_000)
        self._call(WAIT_FOR_KERNEL, seconds=60)

    def run_all(self, seconds: int = 120) -> None:
        """Run every cell to its end; an error in one fails the test."""
        self._call(RUN_ALL, seconds)
        errors = self.take_kernel_errors()
        assert not errors, "\n".join(errors)

    def settle(self, seconds: int = 30) -> None:
        """Wait until what was done in the page is answered by the kernel, and the answer is shown."""
        self._call(SETTLE, seconds)

    def take_kernel_errors(self) -> list[str]:
        """The errors that the kernel has sent since the last call, those of widgets' callbacks among them."""
        return self.page.evaluate("() => window.kernelErrors?.splice(0) ?? []")

    def picture(self, number: int = 0) -> str:
        """The address of the n-th picture widget's image, which changes whenever the picture does."""
        image = self.page.locator("img.widget-image").nth(number)
        image.wait_for()
        return image.get_attribute("src")

    def wait_for_new_picture(self, before: str, number: int = 0) -> str:
        """Wait until the n-th picture is no longer `before`, and give the new one."""
        changed = "([n, before]) => document.querySelectorAll('img.widget-image')[n]?.src !== before"
        self.page.wait_for_function(changed, arg=[number, before], timeout=15_000)
        return self.picture(number)

    def close(self) -> list[str]:
        """Close the tab; what went wrong in it, in its kernel or in the kernel's log."""
        self.problems += [f"kernel: {error}" for error in self.take_kernel_errors()]
        with self.lab.log.open() as log:
            log.seek(self._log_seen)
            written = log.read()
        if "Traceback" in written:
            self.problems.append("server log: " + written[written.index("Traceback") :][:3000])
        self.page.context.close()
        self.lab.stop_kernels()
        self.lab.forget_settings()
        return self.problems

    def _call(self, script, seconds):
        # Playwright has no time limit of its own for a script, and a dialogue in the page may wait for ever.
        too_late = f"setTimeout(() => reject(new Error('no end within {seconds} s')), {seconds * 1000})"
        self.page.evaluate(f"() => Promise.race([({script})(), new Promise((_, reject) => {too_late})])")

    def _check_address(self, url):
        if not stays_on_this_machine(url):
            self.problems.append(f"asked for {url}")

    def _check_console(self, message):
        if message.type == "error":
            self.problems.append(f"console: {message.text} ({message.location.get('url')})")


def _free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]
