"""The pages of the consoles: noVNC and a terminal in the browser, at the addresses that the compute API gives.

The pages need no token; the WebSocket that they open (api/compute/console_proxy.py) does, and takes it from the page's own address.
`static/` holds files that `npm run build` in `ui/console` made; they are read once.
"""
