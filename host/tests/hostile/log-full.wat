;; Logs as much as is kept, 16 lines of 4 KiB, and succeeds.
(core module $m
  (import "libc" "memory" (memory 1))
  (import "host" "log" (func $log (param i32 i32 i32)))
  (func (export "handle") (param $call i32) (result i32)
    (local $left i32)
    (memory.fill (i32.const 65536) (i32.const 120) (i32.const 4096))
    (local.set $left (i32.const 16))
    (loop $more
      (call $log (i32.const 2) (i32.const 65536) (i32.const 4096))
      (br_if $more (local.tee $left (i32.sub (local.get $left) (i32.const 1)))))
    (i32.const 16)))
