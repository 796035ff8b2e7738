;; Exports the contract of a version that is yet to come.
(component
  (instance $handler)
  (export "hookbox:plugin/handler@7.0.0" (instance $handler)))
