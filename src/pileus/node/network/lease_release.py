"""Tell a DHCP server that a lease has ended, for a guest that could not say so: it was deleted, and its address belongs to another.

dnsmasq gives an address to nobody else while a lease of it lasts, whatever its hosts file says. So it is sent the client's own DHCPRELEASE.

Source: RFC 2131, sections 2 and 4.4.6; RFC 2132 for the options.
"""

import socket
import struct

SERVER_PORT = 67
COOKIE = bytes([99, 130, 83, 99])
MESSAGE_TYPE, SERVER_IDENTIFIER, END = 53, 54, 255
DHCPRELEASE = 7


def release(interface: str, address: str, mac: str) -> None:
    """Sent to the server on `interface`, from whose namespace this is called. IPv4; an address that has no lease is fine."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        sender.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, interface.encode())
        sender.connect((address, SERVER_PORT))
        server: str = sender.getsockname()[0]  # the server's own address beside that one
        sender.connect((server, SERVER_PORT))
        sender.send(message(address, mac, server))


def message(address: str, mac: str, server: str) -> bytes:
    """A DHCPRELEASE of the client `mac` (as aa:bb:cc:dd:ee:ff) for `address`, to the server whose identifier is `server`."""
    hardware = bytes.fromhex(mac.replace(":", ""))
    header = struct.pack("!BBBBIHH", 1, 1, len(hardware), 0, 0, 0, 0)  # BOOTREQUEST over Ethernet
    addresses = socket.inet_aton(address) + bytes(12)
    options = bytes([MESSAGE_TYPE, 1, DHCPRELEASE, SERVER_IDENTIFIER, 4]) + socket.inet_aton(server) + bytes([END])
    return header + addresses + hardware.ljust(16, b"\0") + bytes(64 + 128) + COOKIE + options
