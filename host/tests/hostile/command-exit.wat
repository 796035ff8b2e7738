;; A command that exits with code 255, from its start function.
(module
  (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
  (memory (export "memory") 1)
  (func $start (call $exit (i32.const 255)))
  (start $start)
  (func (export "_start")))
