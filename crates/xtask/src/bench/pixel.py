"""How long it takes until a point that is logged is seen in the browser: `pixel.py REPEATS PROGRAM...`. The page itself logs
the point and looks at its own canvas until the picture has changed. Prints one JSON object."""

import json
import subprocess
import sys
import time
import urllib.request

from server import Server, free_port

repeats, program = int(sys.argv[1]), sys.argv[2:]
ARGUMENTS = [
    "--headless=new",
    "--no-sandbox",
    "--use-angle=swiftshader",
    "--enable-unsafe-swiftshader",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-quic",
    "--disable-dev-shm-usage",
    "--window-size=1000,700",
]
# So that the canvas can be read at any time.
KEEP = """
const get = HTMLCanvasElement.prototype.getContext;
HTMLCanvasElement.prototype.getContext = function (kind, options) {
    return get.call(this, kind, { ...options, preserveDrawingBuffer: true });
};
"""
LOOK = """
const [run, step, value, done] = arguments;
const canvas = document.querySelector("canvas");
const gl = canvas.getContext("webgl2");
// The upper half of the page, where the chart is; every third pixel of it, so that looking takes little of the time.
const [width, height] = [gl.drawingBufferWidth, gl.drawingBufferHeight >> 1];
const bytes = new Uint8Array(4 * width * height);
const pixels = new Uint32Array(bytes.buffer);
const picture = () => {
    gl.readPixels(0, gl.drawingBufferHeight - height, width, height, gl.RGBA, gl.UNSIGNED_BYTE, bytes);
    let sum = 0;
    for (let at = 0; at < pixels.length; at += 3) sum = (Math.imul(sum, 31) + pixels[at]) | 0;
    return sum;
};
const before = picture();
const begun = performance.now();
const look = () => {
    const waited = performance.now() - begun;
    if (picture() !== before || waited > 10000) done(performance.now() - begun);
    else requestAnimationFrame(look);
};
fetch("/api/2.0/mlflow/runs/log-metric", {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify({ run_id: run, key: "loss", value, timestamp: 1700000000000 + step, step }),
});
requestAnimationFrame(look);
"""


class Browser:
    def __enter__(self):
        port = free_port()
        self.driver = subprocess.Popen(["chromedriver", f"--port={port}"], stdout=subprocess.DEVNULL)
        self.address = f"http://127.0.0.1:{port}/session"
        wanted = {"capabilities": {"alwaysMatch": {"goog:chromeOptions": {"args": ARGUMENTS}}}}
        for _ in range(100):
            try:
                self.address += "/" + self.post("", wanted)["sessionId"]
                return self
            except OSError:
                time.sleep(0.1)
        raise RuntimeError("chromedriver does not answer")

    def __exit__(self, *_):
        urllib.request.urlopen(urllib.request.Request(self.address, method="DELETE")).read()
        self.driver.terminate()
        self.driver.wait()

    def post(self, path, body):
        headers = {"Content-Type": "application/json"}
        request = urllib.request.Request(self.address + path, json.dumps(body).encode(), headers)
        return json.loads(urllib.request.urlopen(request).read())["value"]

    def look(self, *arguments):
        return self.post("/execute/async", {"script": LOOK, "args": arguments})


with Server(program) as server, Browser() as browser:
    run = server.run()
    log = lambda step, value: {"key": "loss", "value": value, "timestamp": 1_700_000_000_000 + step, "step": step}
    server.post("runs/log-batch", {"run_id": run, "metrics": [log(step, (step * 7) % 10) for step in range(100)]})
    number = server.get("/api/v1/runs?limit=1")["runs"][0]["id"]
    browser.post("/goog/cdp/execute", {"cmd": "Page.addScriptToEvaluateOnNewDocument", "params": {"source": KEEP}})
    browser.post("/url", {"url": f"http://127.0.0.1:{server.port}/#/runs/{number}"})
    time.sleep(5)  # until the page is drawn and at rest
    waited = []
    for turn in range(repeats):
        # A value far out moves the axis, so that even a small picture changes.
        waited.append(browser.look(run, 100 + turn, 20.0 * (turn + 1)))
        time.sleep(1)  # at rest again
waited.sort()
print(json.dumps({"median ms": waited[len(waited) // 2], "worst ms": waited[-1], "points": repeats}))
