;; Writes 1 MiB in values of 100 kB under keys of its own, and traps when one is refused.
(core module $m
  (import "libc" "memory" (memory 1))
  (import "host" "kv-set" (func $kv-set (param i32 i32 i32 i32 i32)))
  (func (export "handle") (param $call i32) (result i32)
    (local $left i32)
    (local.set $left (i32.const 64))
    (loop $more
      (i32.store8 (i32.const 256) (i32.add (i32.const 33) (local.get $left)))
      (call $kv-set (i32.const 256) (i32.const 1) (i32.const 65536) (i32.const 100000) (i32.const 64))
      (if (i32.load8_u (i32.const 64)) (then (unreachable)))
      (br_if $more (local.tee $left (i32.sub (local.get $left) (i32.const 1)))))
    (i32.const 16)))
