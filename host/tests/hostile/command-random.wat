;; A command that asks for 1 GiB of random bytes at once.
(module
  (import "wasi_snapshot_preview1" "random_get" (func $random (param i32 i32) (result i32)))
  (memory (export "memory") 1)
  (func (export "_start")
    (if (call $random (i32.const 0) (i32.const 1073741824)) (then (unreachable)))))
