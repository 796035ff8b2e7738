;; A command that looks for its host's environment and arguments, and traps if it finds any.
(module
  (import "wasi_snapshot_preview1" "environ_sizes_get" (func $environment (param i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "args_sizes_get" (func $arguments (param i32 i32) (result i32)))
  (memory (export "memory") 1)
  (func (export "_start")
    (if (call $environment (i32.const 64) (i32.const 68)) (then (unreachable)))
    (if (i32.load (i32.const 64)) (then (unreachable)))
    (if (call $arguments (i32.const 64) (i32.const 68)) (then (unreachable)))
    (if (i32.load (i32.const 64)) (then (unreachable)))))
