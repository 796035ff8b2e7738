;; Writes a million keys, and traps when one is refused.
(core module $m
  (import "libc" "memory" (memory 1))
  (import "host" "kv-set" (func $kv-set (param i32 i32 i32 i32 i32)))
  (func (export "handle") (param $call i32) (result i32)
    (local $left i32)
    (local.set $left (i32.const 1000000))
    (loop $more
      (i32.store8 (i32.const 256) (i32.add (i32.const 33) (i32.rem_u (local.get $left) (i32.const 90))))
      (i32.store8 (i32.const 257) (i32.add (i32.const 33) (i32.rem_u (i32.div_u (local.get $left) (i32.const 90)) (i32.const 90))))
      (i32.store16 (i32.const 258) (i32.const 0x3030))
      (call $kv-set (i32.const 256) (i32.const 4) (i32.const 256) (i32.const 1) (i32.const 64))
      (if (i32.load8_u (i32.const 64)) (then (unreachable)))
      (br_if $more (local.tee $left (i32.sub (local.get $left) (i32.const 1)))))
    (i32.const 16)))
