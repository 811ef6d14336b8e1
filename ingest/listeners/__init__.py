"""Where datagrams come from: sockets and capture files."""
