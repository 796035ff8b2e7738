;; Waits for 400 clocks at once, all of which are far off.
(core module $m
  (import "libc" "memory" (memory 1))
  (import "host" "subscribe" (func $subscribe (param i64) (result i32)))
  (import "host" "poll" (func $poll (param i32 i32 i32)))
  (func (export "handle") (param $call i32) (result i32)
    (local $left i32) (local $at i32)
    (local.set $at (i32.const 65536))
    (local.set $left (i32.const 400))
    (loop $more
      (i32.store (local.get $at) (call $subscribe (i64.const 100000000000000)))
      (local.set $at (i32.add (local.get $at) (i32.const 4)))
      (br_if $more (local.tee $left (i32.sub (local.get $left) (i32.const 1)))))
    (call $poll (i32.const 65536) (i32.const 400) (i32.const 64))
    (i32.const 16)))
