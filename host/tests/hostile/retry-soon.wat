;; Asks to be called again after 1 to 5,000 ms, always.
(core module $m
  (import "libc" "memory" (memory 1))
  (import "host" "random" (func $random (param i64 i32)))
  (func (export "handle") (param $call i32) (result i32)
    (call $random (i64.const 4) (i32.const 128))
    (i32.store (i32.const 16) (i32.const 1))
    (i32.store (i32.const 40) (i32.const 1))
    (i64.store (i32.const 48) (i64.extend_i32_u (i32.add (i32.const 1)
      (i32.rem_u (i32.load (i32.load (i32.const 128))) (i32.const 5000)))))
    (i32.const 16)))
