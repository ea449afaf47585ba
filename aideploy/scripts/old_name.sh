# shellcheck shell=bash
# Files that were named APP-ENVIRONMENT, a name that two of them may share: a library.

# is_of_another FILE APP ENVIRONMENT: the file is of other ones with the same name, as of a in b-c where these are a-b
# in c. Targets say so in JSON, rules in PromQL.
is_of_another() {
  local app='' rest=$2-$3
  while [[ $rest == *-* ]]; do
    app=${app:+$app-}${rest%%-*} rest=${rest#*-}
    [ "$app" != "$2" ] || continue
    grep -Eqs -- "\bapp\"?[=:] ?\"$app\"" "$1" && grep -Eqs -- "\benv\"?[=:] ?\"$rest\"" "$1" && return 0
  done
  return 1
}
