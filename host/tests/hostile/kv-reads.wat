;; Reads a million keys, and lives with it that they are refused.
(core module $m
  (import "libc" "memory" (memory 1))
  (import "host" "kv-get" (func $kv-get (param i32 i32 i32)))
  (func (export "handle") (param $call i32) (result i32)
    (local $left i32)
    (local.set $left (i32.const 1000000))
    (loop $more
      (i32.store8 (i32.const 256) (i32.add (i32.const 33) (i32.rem_u (local.get $left) (i32.const 90))))
      (i32.store8 (i32.const 257) (i32.add (i32.const 33) (i32.rem_u (i32.div_u (local.get $left) (i32.const 90)) (i32.const 90))))
      (call $kv-get (i32.const 256) (i32.const 2) (i32.const 64))
      (br_if $more (local.tee $left (i32.sub (local.get $left) (i32.const 1)))))
    (i32.const 16)))
