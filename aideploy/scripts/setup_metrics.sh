# shellcheck shell=bash
# What setup does for node_exporter, and for the timer that looks for drift. A library in front of setup.sh, whose
# variables and functions it uses.
#
# node_exporter's folder belongs to root and stays so: it gets links to files in the app's own folder.

# -- looking --------------------------------------------------------------------------------------

# tells_drift: whether this host is to look for drift.
tells_drift() {
  [[ " $metric_files " == *" drift/"* ]]
}

# has_textfile_folder: whether there is a folder of node_exporter to link from.
has_textfile_folder() {
  [ -n "$textfile" ] && [ -d "$textfile" ]
}

# metric_link FILE: where the link to it lies.
metric_link() {
  printf '%s/%s\n' "$textfile" "${1##*/}"
}

# lacks_metric_links: something is to be done in node_exporter's folder.
lacks_metric_links() {
  local file
  has_textfile_folder || return 1
  for file in $metric_files; do
    [ "$(readlink -- "$(metric_link "$file")")" = "$root/$file" ] || return 0
  done
  [ -n "$(foreign_metric_links)" ]
}

# foreign_metric_links, in a subshell: links to files of this app that are not told any more, as of an environment that was renamed.
foreign_metric_links() {
  local link
  shopt -s nullglob
  # Until 0.1 a dash stood where the dot does.
  for link in "$textfile/aideploy-$app"[.-]*.prom; do
    [[ $(readlink -- "$link") == "$root"/@(metrics|drift)/* ]] || continue
    [[ " $metric_files " == *"/${link##*/} "* ]] || printf '%s\n' "$link"
  done
}

# is_drift_left_over: the timer is there, and nobody wants to know any more.
is_drift_left_over() {
  [ -n "$units_folder" ] && ! tells_drift && [ -e "$units_folder/$app-drift.timer" ]
}

# -- doing ----------------------------------------------------------------------------------------

make_metrics() {
  local file link run=''
  [ -n "$metric_files" ] || return 0
  make_folder "$root/metrics"
  ! tells_drift || make_group_folder "$root/drift" 2775 "$service_user"
  if ! has_textfile_folder; then
    emit notice "there is no folder $textfile, where node_exporter would read metrics: install it, or correct [monitoring] textfile; then fab setup"
    return
  fi
  [ -w "$textfile" ] || run=as_root
  for link in $(foreign_metric_links); do
    file=$(readlink -- "$link")
    $run rm -f -- "$link"
    rm -f -- "$file" 2>/dev/null || true
    changed "$link removed"
  done
  for file in $metric_files; do
    link=$(metric_link "$file")
    # A link that leads nowhere is an error to node_exporter.
    [ -e "$root/$file" ] || : >"$root/$file"
    if [ "$(readlink -- "$link")" != "$root/$file" ]; then
      $run ln -sfnT -- "$root/$file" "$link"
      changed "$link"
    fi
  done
}

# look_for_drift: the timer runs, with what was set up just now.
look_for_drift() {
  local path
  tells_drift || return 0
  path=$units_folder/$app-drift.timer
  if ! ask is-active --quiet "$app-drift.timer" || was_replaced "$path"; then
    step "starting $app-drift.timer"
    control restart "$app-drift.timer"
    changed "$app-drift.timer started"
  fi
}

retire_drift() {
  local unit path
  step "stopping $app-drift.timer"
  control --quiet disable --now "$app-drift.timer"
  for unit in timer service; do
    path=$units_folder/$app-drift.$unit
    rm -f -- "$path" 2>/dev/null || as_root rm -f -- "$path"
  done
  # Nobody would correct them any more.
  rm -f -- "$root"/drift/*.prom 2>/dev/null || as_root rm -f -- "$root"/drift/*.prom
  control daemon-reload
  changed "$app-drift.timer removed"
}
