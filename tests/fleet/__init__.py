"""Tests on real Debian hosts: everything here has the mark `fleet`."""
