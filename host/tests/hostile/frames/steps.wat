;; What stands around the core module of a handler in this folder that records steps: the contract, a memory that hands
;; out room and never takes it back, and the functions of steps.
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
  (import "hookbox:plugin/steps@0.1.1" (instance $steps
    (type $e (variant
      (case "invalid-name") (case "too-large") (case "full") (case "lost") (case "unavailable" string)))
    (export "error" (type $error (eq $e)))
    (export "recall" (func (param "name" string) (result (result (option (list u8)) (error $error)))))
    (export "record" (func (param "name" string) (param "value" (list u8)) (result (result (error $error)))))
    (export "again" (func (param "after-ms" u64) (result (result (error $error)))))))
  ;; The memory is a module of its own, so that imports can be lowered onto it.
  (core module $libc
    (memory (export "memory") 20)
    (global $next (mut i32) (i32.const 4096))
    (func (export "realloc") (param $old i32) (param $old-size i32) (param $align i32) (param $size i32) (result i32)
      (global.set $next (i32.and (i32.add (global.get $next) (i32.const 7)) (i32.const -8)))
      (global.get $next)
      (global.set $next (i32.add (global.get $next) (local.get $size)))
      (if (i32.gt_u (global.get $next) (i32.shl (memory.size) (i32.const 16))) (then
        (drop (memory.grow (i32.add (i32.shr_u (local.get $size) (i32.const 16)) (i32.const 1))))))))
  (core instance $libc (instantiate $libc))
  (core func $record (canon lower (func $steps "record")
    (memory (core memory $libc "memory")) (realloc (core func $libc "realloc"))))
  (core func $again (canon lower (func $steps "again")
    (memory (core memory $libc "memory")) (realloc (core func $libc "realloc"))))
  (alias export $types "event" (type $event))
  (alias export $types "context" (type $context))
  (alias export $types "new-event" (type $new-event))
  (alias export $types "failure" (type $failure))
  ;; GUEST
  (core instance $guest (instantiate $m
    (with "libc" (instance $libc))
    (with "host" (instance
      (export "record" (func $record)) (export "again" (func $again))))))
  (func $handle (param "event" $event) (param "context" $context)
    (result (result (list $new-event) (error $failure)))
    (canon lift (core func $guest "handle")
      (memory (core memory $libc "memory")) (realloc (core func $libc "realloc"))))
  (instance $handler (export "handle" (func $handle)))
  (export "hookbox:plugin/handler@0.1.1" (instance $handler)))
