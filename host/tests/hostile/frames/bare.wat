;; What stands around the core module of a handler in this folder that brings its own memory and `realloc`: the contract,
;; and one thing that it may call, the clock.
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
  (import "wasi:clocks/monotonic-clock@0.2.0" (instance $ticks (export "now" (func (result u64)))))
  (core func $now (canon lower (func $ticks "now")))
  (alias export $types "event" (type $event))
  (alias export $types "context" (type $context))
  (alias export $types "new-event" (type $new-event))
  (alias export $types "failure" (type $failure))
  ;; GUEST
  (core instance $guest (instantiate $m (with "host" (instance (export "now" (func $now))))))
  (func $handle (param "event" $event) (param "context" $context)
    (result (result (list $new-event) (error $failure)))
    (canon lift (core func $guest "handle")
      (memory (core memory $guest "memory")) (realloc (core func $guest "realloc"))))
  (instance $handler (export "handle" (func $handle)))
  (export "hookbox:plugin/handler@0.1.0" (instance $handler)))
