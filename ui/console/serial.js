// The serial console: a terminal on the page's own address, with the token that the page was opened with.
import { Terminal } from "@xterm/xterm";
import "@xterm/xterm/css/xterm.css";

const status = document.getElementById("status");
const address = new URL(location.href);
address.protocol = address.protocol === "https:" ? "wss:" : "ws:";

const terminal = new Terminal({ cols: 100, rows: 32, scrollback: 5000, convertEol: false, theme: { background: "#101418" } });
terminal.open(document.getElementById("screen"));
const socket = new WebSocket(address.href, ["binary"]);
socket.binaryType = "arraybuffer";
const encoder = new TextEncoder();
socket.onopen = () => { status.hidden = true; terminal.focus(); socket.send(encoder.encode("\r")); };
socket.onmessage = (event) => terminal.write(new Uint8Array(event.data));
socket.onclose = () => {
  status.hidden = false;
  status.textContent = "The console is closed: the token has expired, or the server does not run. Ask for a new address: openstack console url show --serial SERVER";
};
terminal.onData((text) => socket.readyState === WebSocket.OPEN && socket.send(encoder.encode(text)));
