"""What is known of the network: nodes, interfaces, networks; gathered from many sources into one snapshot."""
