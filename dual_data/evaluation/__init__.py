"""The reference unlearning evaluation: torch and transformers live only here (extra `eval`).

a grid       settings cells forecast -> grid workers claims sharding smaller -> record results origin
models       models tiny cache reach devices attention norms; local_model: as closed-book probes of the pipeline
rows         data request context workload panel
training     methods/ -> train: order packing forward reference optimiser replay repeatable, on lora or full; stages
measuring    measure -> engine: stream or plain, by generate forced static_cache hidden score -> metrics/ embedding
attacks      examine attacks/ lm_eval_tasks lm_eval_model
reading      report/ compare frontier frequency quality statistics; foreign, publish
"""
