;; Logs a million small lines.
(core module $m
  (import "libc" "memory" (memory 1))
  (import "host" "log" (func $log (param i32 i32 i32)))
  (data (i32.const 256) "small")
  (func (export "handle") (param $call i32) (result i32)
    (local $left i32)
    (local.set $left (i32.const 1000000))
    (loop $more
      (call $log (i32.const 2) (i32.const 256) (i32.const 5))
      (br_if $more (local.tee $left (i32.sub (local.get $left) (i32.const 1)))))
    (i32.const 16)))
