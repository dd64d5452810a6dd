// Starts the interface; what goes wrong before it can draw is said in plain text.
import init, { start } from "./assay.js";

const waiting = document.getElementById("waiting");
try {
    await init({ module_or_path: "assay_bg.wasm" });
    window.assay = await start("interface");
    waiting.remove();
    window.addEventListener("assay-image", (event) => window.assay.offer_image(new Uint8Array(event.detail)));
    window.addEventListener("assay-import", (event) => window.assay.offer_import(event.detail));
} catch (error) {
    waiting.textContent = `Assay could not start: ${error}. It needs WebAssembly and WebGL.`;
}
