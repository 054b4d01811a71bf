// The VNC console: noVNC on the page's own address, with the token that the page was opened with.
import RFB from "@novnc/novnc";

const screen = document.getElementById("screen");
const status = document.getElementById("status");
const address = new URL(location.href);
address.protocol = address.protocol === "https:" ? "wss:" : "ws:";

const say = (text) => { status.textContent = text; status.hidden = !text; };

say("connecting …");
const rfb = new RFB(screen, address.href, { wsProtocols: ["binary"] });
rfb.scaleViewport = true;
rfb.background = "#101418";
rfb.addEventListener("connect", () => { say(""); rfb.focus(); });
rfb.addEventListener("disconnect", (event) => say(
  event.detail.clean ? "The console was closed." : "No console: the token has expired, or the server does not run. Ask for a new address: openstack console url show SERVER"));
rfb.addEventListener("desktopname", (event) => { document.title = event.detail.name; });
document.getElementById("keys").addEventListener("click", () => { rfb.sendCtrlAltDel(); rfb.focus(); });
