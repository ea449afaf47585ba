# shellcheck shell=bash
# Who listens on a port of this host. A library.

# listens ADDRESS PORT: whether somebody listens there.
listens() {
  # shellcheck disable=SC2016  # the inner shell fills these in
  timeout 5 bash -c 'exec 3<>"/dev/tcp/$0/$1"' "$1" "$2" 2>/dev/null
}

# listener PORT: prints who that is, or "somebody else" where it cannot be seen.
listener() {
  local line who='' ask=(ss -Hltnp "sport = :$1")
  if command -v ss >/dev/null; then
    line=$("${ask[@]}" 2>/dev/null || true)
    # Of others only root sees it.
    [[ $line == *users:* ]] || line=$(sudo -n "${ask[@]}" 2>/dev/null || true)
    [[ $line != *'users:(("'* ]] || who=${line#*'users:(("'}
  fi
  if [ -n "$who" ]; then
    printf '%s (process %s)\n' "${who%%'"'*}" "$(sed -E 's/^[^,]*,pid=([0-9]+).*/\1/' <<<"${who%%$'\n'*}")"
  else
    printf 'somebody else\n'
  fi
}
