// A current MicroPython as a serial device: its REPL on stdin and stdout.
import { loadMicroPython } from "@micropython/micropython-webassembly-pyscript/micropython.mjs";

const write = (bytes) => process.stdout.write(bytes);
const python = await loadMicroPython({ heapsize: 64 * 1024, linebuffer: false, stdout: write, stderr: write });
python.replInit();
process.stdin.on("data", (data) => {
  for (const byte of data) if (python.replProcessChar(byte)) process.exit(0);
});
process.stdin.on("end", () => process.exit(0));
