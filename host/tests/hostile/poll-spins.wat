;; Waits for a clock that is always due, for ever.
(core module $m
  (import "libc" "memory" (memory 1))
  (import "libc" "next" (global $next (mut i32)))
  (import "host" "subscribe" (func $subscribe (param i64) (result i32)))
  (import "host" "poll" (func $poll (param i32 i32 i32)))
  (func (export "handle") (param $call i32) (result i32)
    (i32.store (i32.const 512) (call $subscribe (i64.const 0)))
    (loop $again
      (global.set $next (i32.const 4096))
      (call $poll (i32.const 512) (i32.const 1) (i32.const 64))
      (br $again))
    (unreachable)))
