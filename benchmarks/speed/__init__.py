"""How fast the memory is: its floor, its peers, its scale and a host, each a script with one record of JSON."""
