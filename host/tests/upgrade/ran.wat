;; A handler that succeeds and returns no events: the smallest plugin there is, and it needs no toolchain.
;; 
;; `handle` gets the address of its parameters and returns the address of its result, both laid out by the canonical ABI
;; (https://github.com/WebAssembly/component-model/blob/main/design/mvp/CanonicalABI.md): event at 0 (id, source, type as
;; address and length; subject at 24; time at 36; data-content-type at 44; data at 56), context at 64 (attempt, max-attempts,
;; idempotency-key, parent). The result is a tag (0 ok, 1 error) and, 8 bytes on, the list or the failure.
(component
  (import "hookbox:plugin/types@0.1.0" (instance $types
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
  (alias export $types "event" (type $event))
  (alias export $types "context" (type $context))
  (alias export $types "new-event" (type $new-event))
  (alias export $types "failure" (type $failure))
  (core module $m
    (memory (export "memory") 2)
    ;; Room for what the host hands over: memory from 4096 on, never given back.
    (global $next (mut i32) (i32.const 4096))
    (func (export "realloc") (param $old i32) (param $old-size i32) (param $align i32) (param $size i32) (result i32)
      (global.set $next (i32.and (i32.add (global.get $next) (i32.const 7)) (i32.const -8)))
      (global.get $next)
      (global.set $next (i32.add (global.get $next) (local.get $size)))
      (if (i32.gt_u (global.get $next) (i32.shl (memory.size) (i32.const 16))) (then
        (drop (memory.grow (i32.add (i32.shr_u (local.get $size) (i32.const 16)) (i32.const 1)))))))
    ;; Zeroed memory at 16 reads as ok with an empty list.
    (func (export "handle") (param $call i32) (result i32)
      (i32.const 16))
  )
  (core instance $guest (instantiate $m))
  (func $handle (param "event" $event) (param "context" $context)
    (result (result (list $new-event) (error $failure)))
    (canon lift (core func $guest "handle")
      (memory (core memory $guest "memory")) (realloc (core func $guest "realloc"))))
  (instance $handler (export "handle" (func $handle)))
  (export "hookbox:plugin/handler@0.1.0" (instance $handler)))
