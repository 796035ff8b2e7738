;; Records as much as one delivery may, and traps, in every attempt.
(core module $m
  (import "libc" "memory" (memory 1))
  (import "host" "record" (func $record (param i32 i32 i32 i32 i32)))
  (import "host" "again" (func $again (param i64 i32)))
  (data (i32.const 256) "step-")
  (func (export "handle") (param $call i32) (result i32)
    (local $n i32)
    (loop $more
      (i32.store8 (i32.const 261) (i32.add (i32.const 48) (local.get $n)))
      (call $record (i32.const 256) (i32.const 6) (i32.const 65536) (i32.const 262144) (i32.const 320))
      (br_if $more (i32.lt_u (local.tee $n (i32.add (local.get $n) (i32.const 1))) (i32.const 64))))
    (call $again (i64.const 0) (i32.const 320))
    (unreachable)))
