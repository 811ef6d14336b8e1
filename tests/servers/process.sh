# What the servers' scripts have in common: one process, whose id is in $RUN/pid. To be sourced; `dispatch VERB` runs one verb.
# The script sets RUN, and PATIENCE in tenths of a second for a stop in good order, and has functions install and start.

alive() {   # a zombie is not alive
  local p; p=$(cat "$RUN/pid" 2>/dev/null) && kill -0 "$p" 2>/dev/null && ! grep -qs '^State:.Z' "/proc/$p/status"
}

stop() {
  alive || { rm -f "$RUN/pid"; return 0; }
  local p; p=$(cat "$RUN/pid"); kill "$p"
  for _ in $(seq "$PATIENCE"); do alive || { rm -f "$RUN/pid"; return 0; }; sleep 0.1; done
  kill -9 "$p"; rm -f "$RUN/pid"
}

dispatch() {
  case ${1:-} in
    install|start|stop) "$1" ;;
    kill) kill -9 "$(cat "$RUN/pid")"; while alive; do sleep 0.05; done ;;
    status) alive && echo "running, pid $(cat "$RUN/pid")" ;;
    wipe) stop; rm -rf "$RUN" ;;
    *) echo "usage: $0 install|start|stop|kill|status|wipe" >&2; exit 2 ;;
  esac
}
