import socket
def tcp(): socket.create_connection(("127.0.0.1", FACTS["port"]), 1)
def metadata(): socket.create_connection(("169.254.169.254", 80), 1)
def udp(): socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b"x", ("127.0.0.1", FACTS["port"]))
def dns(): socket.getaddrinfo("example.org", 80)
def abstract(): socket.socket(socket.AF_UNIX).connect("\0" + FACTS["abstract"])
def netlink(): socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0)
def crypto(): socket.socket(38, socket.SOCK_SEQPACKET, 0)
def packet(): socket.socket(17, socket.SOCK_RAW, 3)
def double(x):
    for attempt in (tcp, metadata, udp, dns, abstract, netlink, crypto, packet):
        try:
            attempt()
            return 2 * x
        except OSError:
            pass
