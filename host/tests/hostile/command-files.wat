;; A command that opens files, and traps if it finds a directory to do so in.
(module
  (import "wasi_snapshot_preview1" "fd_prestat_get" (func $prestat (param i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "path_open" (func $open (param i32 i32 i32 i32 i32 i64 i64 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "sock_accept" (func $accept (param i32 i32 i32) (result i32)))
  (memory (export "memory") 1)
  (data (i32.const 256) "../../../etc/passwd")
  (func (export "_start")
    (local $fd i32)
    (loop $next
      (if (i32.eqz (call $prestat (local.get $fd) (i32.const 64))) (then (unreachable)))
      (if (i32.eqz (call $open (local.get $fd) (i32.const 0) (i32.const 256) (i32.const 19) (i32.const 0)
        (i64.const 2) (i64.const 2) (i32.const 0) (i32.const 64))) (then (unreachable)))
      (if (i32.eqz (call $accept (local.get $fd) (i32.const 0) (i32.const 64))) (then (unreachable)))
      (br_if $next (i32.lt_u (local.tee $fd (i32.add (local.get $fd) (i32.const 1))) (i32.const 100))))))
