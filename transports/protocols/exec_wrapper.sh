# Wirelet's hand on a target without an agent: starts jobs that outlive the connection and keeps what they say, in POSIX sh (dash, busybox ash).
#
#   serve DIR NONCE   answers a gateway on standard input and output: one answer for each command, in order
#   spool DIR LIMIT   one for DIR: writes what all jobs say into log.POSITION, one after another, and drops the oldest beyond LIMIT bytes
#   run DIR RUN       one for each job: starts it, tags its lines with slot and time, keeps its exit code
#
# The position of a byte in the row of log files is its offset for ever: names count from 10^15, so that they sort. The ADR tells the rest:
# docs/adr/0012-ssh-jobs-through-a-wrapper-on-the-target.md. Loops use builtins only; a fork costs a small target a millisecond or more.

mask=$(umask) # jobs have that of the login
umask 077
zero=1000000000000000
me=$0
dir=$2
cd "$dir" || exit 1

# now: seconds since the boot
look_at_clock() { read -r now _ </proc/uptime; }

# began: when process $1 began, with which its number cannot be mistaken for that of a later one; state: Z when it has ended
look_at_process() {
  stat=
  { IFS= read -r stat <"/proc/$1/stat"; } 2>/dev/null || return 1
  set -- ${stat##*) }
  state=$1 began=${20}
}

# file $1 names a process, and its number pid belongs to nobody else yet
is_known() {
  pid= since=
  { read -r pid since <"$1"; } 2>/dev/null
  [ -n "$pid" ] && look_at_process "$pid" && [ "$began" = "$since" ]
}

is_alive() { is_known "$1" && [ "$state" != Z ]; }

# to the job of is_known, of which nothing but itself is there before it has its group
signal_job() { kill -s "$1" -- "-$pid" 2>/dev/null || kill -s "$1" "$pid" 2>/dev/null; }

remember_process() { look_at_process "$1" && echo "$1 $began" >"$2"; }

# end: where the next byte of the log will be
look_at_end() {
  set -- log.*
  if [ "$1" = "log.*" ]; then end=0; return; fi
  shift $(($# - 1))
  size=$(wc -c <"$1")
  end=$((${1#log.} - zero + size))
}

# -- spool

drop_oldest() {
  set -- log.*
  [ $# -gt 1 ] && rm -f "$1"
}

spool() {
  exec 0<>spool # both ways: it never sees the end of its input, and writers never a pipe without a reader
  remember_process $$ spooler
  look_at_end
  while :; do
    name=log.$((zero + end))
    if dd bs=4096 count=256 of="$name" 2>/dev/null; then
      end=$((end + $(wc -c <"$name")))
    else
      # The disk is full. What dd had read and could not write is at most a block: the hole is told as a gap. Jobs wait meanwhile.
      end=$((end + $(wc -c <"$name" 2>/dev/null || echo 0) + 4096))
      until dd if=/dev/zero bs=4096 count=2 of=probe 2>/dev/null; do
        rm -f probe
        drop_oldest || sleep 1
      done
      rm -f probe
    fi
    set -- log.*
    while [ $# -gt 1 ] && [ $((zero + end - ${1#log.})) -gt "$limit" ]; do
      rm -f "$1"
      shift
    done
  done
}

# -- run

# the lines of standard input with source $1; $2 stands for a piece of a line that is too long for one write into a pipe
tag_lines() {
  while IFS= read -r line || [ -n "$line" ]; do
    look_at_clock
    while [ ${#line} -gt 3000 ]; do
      piece=$(printf '%.3000s' "$line")
      printf '%s%s %s %s\n' "$2" "$slot" "$now" "$piece" >&3
      line=${line#"$piece"}
    done
    printf '%s%s %s %s\n' "$1" "$slot" "$now" "$line" >&3
  done
  return 0
}

# the same of descriptor 4; a line of some MB ends the reader and not the job, and is told
tag() {
  LC_ALL=C
  trap 'kill "$reader" 2>/dev/null; exit' TERM
  while :; do
    (
      trap - TERM
      ulimit -v 20480
      tag_lines "$1" "$2"
    ) <&4 2>/dev/null &
    reader=$!
    wait "$reader" && break
    look_at_clock
    printf 'g%s %s\n' "$slot" "$now" >&3
  done
}

run() {
  cd "$1" || exit 1
  remember_process $$ supervisor
  numbers=${1#run.}
  read -r slot _ <meta
  exec 3<>../spool
  rm -f out err
  mkfifo out err || exit 1
  tag o O 4<out &
  out_tagger=$!
  tag e E 4<err &
  err_tagger=$!
  look_at_clock
  echo "s$slot $now ${numbers%.*} ${numbers#*.}" >&3
  # A shell makes what it starts in the background ignore SIGINT and SIGQUIT. GNU env can undo that; busybox has nothing for it.
  reset=
  env --default-signal true 2>/dev/null && reset="env --default-signal"
  setsid $reset sh ./job </dev/null >out 2>err 3>&- &
  job=$!
  remember_process "$job" job.process
  wait "$job"
  code=$?
  kill -s KILL -- "-$job" 2>/dev/null
  # Who left the group and holds the output open does not hold up the end.
  (
    sleep 5
    kill "$out_tagger" "$err_tagger"
  ) </dev/null >/dev/null 2>&1 3>&- &
  patience=$!
  wait "$out_tagger" "$err_tagger"
  kill "$patience" 2>/dev/null
  rm -f out err
  look_at_clock
  echo "x$slot $now ${numbers%.*} ${numbers#*.} $code" >&3
  until echo "$code" >exit; do sleep 1; done
} 2>/dev/null

# -- serve

# the end of an answer; what came before it is its body. No job can know the nonce.
answer() {
  look_at_clock
  printf '\n. %s %s %s %s\n' "$nonce" "$1" "$now" "$2"
}

greet() { # EPOCH EXPECTED LIMIT: what the gateway has stored
  limit=$3
  if is_alive server && [ "$pid" != $$ ]; then kill "$pid"; fi
  remember_process $$ server # a full disk must not keep the log from being fetched, which makes room
  IFS= read -r boot </proc/sys/kernel/random/boot_id
  boot=${boot%%-*}
  if [ ! -s epoch ]; then
    IFS= read -r epoch </proc/sys/kernel/random/uuid
    echo "${epoch%%-*}" >epoch || { answer 5 "no space in $dir"; return; }
  fi
  read -r epoch <epoch
  [ -p spool ] || mkfifo spool || { answer 5 "no pipe can be made in $dir"; return; }
  last_boot= boot_off=
  [ -s boot ] && read -r last_boot boot_off <boot
  if [ "$last_boot" != "$boot" ]; then begin_boot "$1" "$2" || { answer 5 "no space in $dir"; return; }; fi
  if ! is_alive spooler; then
    setsid sh "$me" spool "$dir" "$limit" </dev/null >/dev/null 2>&1 &
    # What is written into a pipe that nobody else has open yet is gone with its writer.
    tries=0
    until is_alive spooler; do
      tries=$((tries + 1))
      if [ $tries -gt 100 ]; then answer 5 "nobody writes the log in $dir; is it full?"; return; fi
      sleep 0.05
    done
  fi
  machine=
  [ -r /etc/machine-id ] && read -r machine </etc/machine-id
  echo "$epoch $boot $boot_off ${machine:--}"
  answer 0 ok
}

# What ran is gone with the boot before. A machine that lost its power may have lost the end of the log, too: what is stored elsewhere is not
# written again under the same offset.
begin_boot() {
  look_at_end
  [ "$1" = "$epoch" ] && [ "$2" -gt "$end" ] && end=$2
  echo >"log.$((zero + end))" || return 1
  boot_off=$end
  for each in run.*; do
    [ -d "$each" ] && [ ! -s "$each/exit" ] && rm -rf "$each"
  done
  echo "$boot $boot_off" >boot
}

# everything that ended jobs have said is in the log up to end: a mark went the same way
settle() {
  IFS= read -r mark </proc/sys/kernel/random/uuid
  echo "m$mark" 1<>spool & # it waits while the disk is full, and nobody here may
  tries=0
  while :; do
    set -- log.*
    shift $(($# > 2 ? $# - 2 : 0))
    tail -q -c 200 "$@" | grep -q "$mark" && break
    tries=$((tries + 1))
    [ $tries -lt 100 ] || return 1
    sleep 0.05
  done
  look_at_end
}

# one line about run $1
tell_run() {
  read -r slot run_tag start_off _ <"$1/meta"
  numbers=${1#run.}
  code=-
  [ -s "$1/exit" ] && read -r code <"$1/exit"
  echo "${numbers%.*} ${numbers#*.} $slot $start_off $code $run_tag"
}

is_running() {
  [ -s "$1/exit" ] && return 1
  is_alive "$1/supervisor" && return 0
  sleep 1 # it may be on its way between being started and saying so
  is_alive "$1/supervisor"
}

# a job whose supervisor was killed: nobody will ever tell how it ended
bury() {
  is_known "$1/job.process" && signal_job KILL
  rm -rf "$1"
}

list() {
  has_ended=
  for each in run.*; do
    [ -d "$each" ] || continue
    if [ -s "$each/exit" ]; then has_ended=1; elif ! is_running "$each"; then bury "$each"; fi
  done
  end=0
  if [ -n "$has_ended" ]; then settle || { answer 5 "the log in $dir cannot be written"; return; }; fi
  for each in run.*; do
    [ -s "$each/meta" ] && tell_run "$each"
  done
  answer 0 "$end"
}

start() { # WID GEN SLOT TAG LINES, then the lines of the script
  run=run.$1.$2
  others=
  for each in "run.$1".*; do
    [ -d "$each" ] && [ "$each" != "$run" ] && others=$each
  done
  target=/dev/null
  is_new=
  if [ -z "$others" ] && [ ! -d "$run" ]; then
    is_new=1
    mkdir "$run" 2>/dev/null && target=$run/job
  fi
  count=0 written=0
  {
    echo "umask $mask"
    while [ $count -lt "$5" ] && IFS= read -r line; do
      printf '%s\n' "$line" || written=1
      count=$((count + 1))
    done
  } >"$target"
  if [ -n "$others" ]; then answer 8 "$others is still there"; return; fi
  if [ -n "$is_new" ]; then
    look_at_end
    if [ "$target" = /dev/null ] || [ $written -ne 0 ] || ! echo "$3 $4 $end" >"$run/meta"; then
      rm -rf "$run"
      answer 5 "no space in $dir"
      return
    fi
    setsid sh "$me" run "$dir" "$run" </dev/null >/dev/null 2>&1 &
    remember_process $! "$run/supervisor"
  fi
  tell_run "$run"
  answer 0 "$end"
}

stop() { # WID GEN SIGNAL GRACE_S
  run=run.$1.$2
  if [ ! -d "$run" ]; then answer 3 "no such run"; return; fi
  tries=0
  until [ -s "$run/job.process" ] || [ -s "$run/exit" ] || [ $tries -ge 20 ]; do
    sleep 0.1
    tries=$((tries + 1))
  done
  if [ ! -s "$run/exit" ] && is_known "$run/job.process"; then
    signal_job "$3"
    if [ "$3" != KILL ]; then
      (
        sleep "$4"
        is_known "$run/job.process" && signal_job KILL
      ) </dev/null >/dev/null 2>&1 &
    fi
  fi
  answer 0 ok
}

remove() { # WID GEN
  run=run.$1.$2
  if [ ! -d "$run" ]; then answer 3 "no such run"; return; fi
  if is_running "$run"; then answer 8 "it runs"; return; fi
  rm -rf "$run"
  answer 0 ok
}

read_log() { # OFFSET STORED: what there is from OFFSET on; files that lie wholly before STORED are not needed any more
  offset=$1 stored=$2
  set -- log.*
  while [ $# -gt 1 ] && [ $((${2#log.} - zero)) -le "$stored" ]; do
    rm -f "$1"
    shift
  done
  while [ $# -gt 1 ] && [ $((${2#log.} - zero)) -le "$offset" ]; do shift; done
  if [ "$1" = "log.*" ]; then answer 0 ok; return; fi
  first=$((${1#log.} - zero))
  if [ "$offset" -lt $first ]; then answer 0 "gap $first"; return; fi
  if [ $# -gt 1 ] && [ $((offset - first)) -ge "$(wc -c <"$1")" ]; then answer 0 "gap $((${2#log.} - zero))"; return; fi
  tail -c "+$((offset - first + 1))" "$1" | head -c 131072
  answer 0 ok
}

check() {
  gone=ok
  for each in run.*; do
    [ -d "$each" ] && [ ! -s "$each/exit" ] && ! is_running "$each" && [ ! -s "$each/exit" ] && gone=gone
  done
  is_alive spooler || gone=gone
  answer 0 $gone
}

serve() {
  answer 0 ready
  while read -r word one two three four five; do
    case $word in
    hello) greet "$one" "$two" "$three" ;;
    list) list ;;
    read) read_log "$one" "$two" ;;
    start) start "$one" "$two" "$three" "$four" "$five" ;;
    stop) stop "$one" "$two" "$three" "$four" ;;
    remove) remove "$one" "$two" ;;
    check) check ;;
    exit) exit ;;
    *) answer 1 "no such command" ;;
    esac
  done
}

case $1 in
serve) nonce=$3 && serve ;;
spool) limit=$3 && spool ;;
run) run "$3" ;;
esac
#end
