# SPDX-License-Identifier: MIT
# Completion for machnetd, machnet-nic, machnetctl and msg_gen in bash. Options come from the programs'
# own --help, so that this file cannot fall behind them.

# NICs that may be named: the kernel's interfaces and those of the configuration.
_machnet_nics() {
  local path
  for path in /sys/class/net/*; do
    [[ -e $path/device || -e $path/address ]] && [[ ${path##*/} != lo ]] && printf '%s\n' "${path##*/}"
  done
  sed -n 's/^[[:space:]]*\[nic[[:space:]]\{1,\}\([^]]*[^][:space:]]\)[[:space:]]*\].*/\1/p' \
    /etc/machnet.conf 2>/dev/null
}

_machnet() {
  local program=$1 word=$2 before=$3 commands= command= i
  COMPREPLY=()
  case $before in
    --config | --socket | --output | --print)
      compopt -o filenames 2>/dev/null
      mapfile -t COMPREPLY < <(compgen -f -- "$word")
      return ;;
    --root)
      compopt -o filenames 2>/dev/null
      mapfile -t COMPREPLY < <(compgen -d -- "$word")
      return ;;
  esac
  if [[ $word == -* ]]; then
    mapfile -t COMPREPLY < <(compgen -W "$("$program" --help 2>/dev/null |
      grep -oE -- '--[a-z][a-z_-]*' | sort -u)" -- "$word")
    return
  fi
  case ${program##*/} in
    machnet-nic) commands="list bind unbind status" ;;
    machnetctl) commands="status trace" ;;
    *) return ;;
  esac
  for ((i = 1; i < COMP_CWORD; i++)); do
    case ${COMP_WORDS[i]} in
      --config | --socket | --root) ((i++)) ;;
      -*) ;;
      *) command=${COMP_WORDS[i]}; break ;;
    esac
  done
  if [[ -z $command ]]; then
    mapfile -t COMPREPLY < <(compgen -W "$commands" -- "$word")
  elif [[ ${program##*/} == machnet-nic && $command != list ]]; then
    mapfile -t COMPREPLY < <(compgen -W "$(_machnet_nics | sort -u)" -- "$word")
  fi
}

complete -F _machnet machnetd machnet-nic machnetctl msg_gen
