# shellcheck shell=bash
# Programs of ours that tell what they do: a library. The token of the marks is not theirs to have.

# hear PROGRAM…: run a program; it says on its standard output, a line each, with tabs between the words:
#   step TEXT           emit KEY VALUE           fail CODE MESSAGE NEXT
# and the script does that. What it writes to its standard error is output.
hear() {
  local word first second third
  while IFS=$'\t' read -r word first second third; do
    case $word in
      step) step "$first" ;;
      emit) emit "$first" "$second" ;;
      fail) fail "$first" "$second" "$third" ;;
    esac
  done < <("$@" 2>&8)
  wait "$!" || fail broken "a program of ours ended badly" "the lines above say why"
}
