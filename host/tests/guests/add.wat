;; Adds 1 to the number under `n`. Traps if the host refuses it.
(component
  (import "hookbox:plugin/types@0.1.1" (instance $types
    (type $e (record
      (field "id" string) (field "source" string) (field "type" string) (field "subject" (option string))
      (field "time" string) (field "data-content-type" (option string)) (field "data" (list u8))))
    (export "event" (type (eq $e)))
    (type $c (record
      (field "attempt" u32) (field "max-attempts" u32) (field "idempotency-key" string) (field "parent" (option string))))
    (export "context" (type (eq $c)))
    (type $n (record
      (field "type" string) (field "subject" (option string)) (field "data-content-type" (option string))
      (field "data" (list u8)) (field "delay-ms" (option u64))))
    (export "new-event" (type (eq $n)))
    (type $r (record (field "reason" string) (field "after-ms" (option u64))))
    (export "retry-later" (type $later (eq $r)))
    (type $f (variant (case "retry" $later) (case "reject" string)))
    (export "failure" (type (eq $f)))))
  (import "hookbox:plugin/kv@0.1.1" (instance $kv
    (type $e (variant
      (case "invalid-key") (case "value-too-large") (case "too-many-keys") (case "too-many-bytes")
      (case "unavailable" string)))
    (export "error" (type $error (eq $e)))
    (export "add" (func (param "key" string) (param "delta" s64) (result (result (error $error)))))))
  ;; The memory is a module of its own, so that imports can be lowered onto it.
  (core module $libc
    (memory (export "memory") 2)
    (global $next (mut i32) (i32.const 4096))
    (func (export "realloc") (param $old i32) (param $old-size i32) (param $align i32) (param $size i32) (result i32)
      (global.set $next (i32.and (i32.add (global.get $next) (i32.const 7)) (i32.const -8)))
      (global.get $next)
      (global.set $next (i32.add (global.get $next) (local.get $size)))
      (if (i32.gt_u (global.get $next) (i32.shl (memory.size) (i32.const 16))) (then
        (drop (memory.grow (i32.add (i32.shr_u (local.get $size) (i32.const 16)) (i32.const 1))))))))
  (core instance $libc (instantiate $libc))
  (core func $add (canon lower (func $kv "add")
    (memory (core memory $libc "memory")) (realloc (core func $libc "realloc"))))
  (alias export $types "event" (type $event))
  (alias export $types "context" (type $context))
  (alias export $types "new-event" (type $new-event))
  (alias export $types "failure" (type $failure))
  (core module $m
    (import "libc" "memory" (memory 1))
    (import "libc" "realloc" (func $realloc (param i32 i32 i32 i32) (result i32)))
    (import "host" "add" (func $add (param i32 i32 i64 i32)))
    (export "memory" (memory 0))
    (export "realloc" (func $realloc))
    (data (i32.const 256) "n")
    (func (export "handle") (param $call i32) (result i32)
      (call $add (i32.const 256) (i32.const 1) (i64.const 1) (i32.const 320))
      (if (i32.load8_u (i32.const 320)) (then (unreachable)))
      (i32.const 16))
  )
  (core instance $guest (instantiate $m
    (with "libc" (instance $libc))
    (with "host" (instance (export "add" (func $add))))))
  (func $handle (param "event" $event) (param "context" $context)
    (result (result (list $new-event) (error $failure)))
    (canon lift (core func $guest "handle")
      (memory (core memory $guest "memory")) (realloc (core func $guest "realloc"))))
  (instance $handler (export "handle" (func $handle)))
  (export "hookbox:plugin/handler@0.1.1" (instance $handler)))
