;; A command as a core module that asks for more memory than it may have, lives with the refusal, and exits with CODE,
;; which the test puts there.
(module
  (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
  (memory (export "memory") 1)
  (func (export "_start")
    (if (i32.ne (memory.grow (i32.const 30000)) (i32.const -1)) (then unreachable))
    (call $exit (i32.const CODE))))
