"""What gunicorn has to know beyond its command line. It reads this file from its directory."""

# There is one control socket per user, so two slots on a host would take it from each other.
control_socket_disable = True
