;; Asks for 64 KiB of random bytes, for ever, and lets them lie.
(core module $m
  (import "libc" "memory" (memory 1))
  (import "libc" "next" (global $next (mut i32)))
  (import "host" "random" (func $random (param i64 i32)))
  (func (export "handle") (param $call i32) (result i32)
    (loop $again
      (global.set $next (i32.const 4096))
      (call $random (i64.const 65536) (i32.const 64))
      (br $again))
    (unreachable)))
