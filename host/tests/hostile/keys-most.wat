;; Writes as many keys as one attempt may, other ones in every attempt, and traps when one is refused.
(core module $m
  (import "libc" "memory" (memory 1))
  (import "host" "kv-set" (func $kv-set (param i32 i32 i32 i32 i32)))
  (import "host" "random" (func $random (param i64 i32)))
  (func (export "handle") (param $call i32) (result i32)
    (local $left i32)
    ;; Eight letters from a to p that no other attempt has, and two for the number of the key.
    (call $random (i64.const 8) (i32.const 128))
    (i64.store (i32.const 256) (i64.add (i64.const 0x6161616161616161)
      (i64.and (i64.load (i32.load (i32.const 128))) (i64.const 0x0f0f0f0f0f0f0f0f))))
    (local.set $left (i32.const 128))
    (loop $more
      (i32.store8 (i32.const 264) (i32.add (i32.const 97) (i32.shr_u (local.get $left) (i32.const 4))))
      (i32.store8 (i32.const 265) (i32.add (i32.const 97) (i32.and (local.get $left) (i32.const 15))))
      (call $kv-set (i32.const 256) (i32.const 10) (i32.const 256) (i32.const 1) (i32.const 64))
      (if (i32.load8_u (i32.const 64)) (then (unreachable)))
      (br_if $more (local.tee $left (i32.sub (local.get $left) (i32.const 1)))))
    (i32.const 16)))
