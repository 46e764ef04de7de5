//! `events`, behind the table's stream. Batches: `events/events`.

use std::sync::Arc;

use async_trait::async_trait;
use aws::{BusEvent, EventBridge, StepFunctions, Told};
use control::Effect;
use control::ports::NoResolvers;
use events_function::{CloudEvent, Listeners, events};
use lambda::{Basis, Environment, Function, NoBell};
use model::{Code, Refusal};

struct Aws {
    machine: StepFunctions,
    bus: EventBridge,
}

#[async_trait]
impl Listeners for Aws {
    async fn tell(&self, effect: Effect) -> Result<bool, Refusal> {
        match self.machine.tell(effect).await? {
            Told::Never(refusal) => {
                tracing::error!(%refusal, "an effect can never be told");
                Ok(false)
            }
            Told::Taken | Told::Known | Told::Over => Ok(true),
        }
    }

    async fn publish(&self, events: Vec<CloudEvent>) -> Result<bool, Refusal> {
        let bus_events = events.into_iter().map(|event| {
            let detail = serde_json::to_value(&event).map_err(|error| {
                Refusal::new(Code::Internal, format!("an event without JSON: {error}"))
            })?;
            Ok(BusEvent {
                source: "tapemark".to_owned(),
                kind: event.kind,
                time: event.time.unwrap_or_else(jiff::Timestamp::now),
                detail,
            })
        });
        let bus_events = bus_events.collect::<Result<Vec<_>, Refusal>>()?;
        let failed = self.bus.put(&bus_events).await;
        if let Some(not) = failed.iter().find(|not| not.is_retryable) {
            let text = format!("event bus: {}: {}", not.code, not.message);
            return Err(Refusal::new(Code::Transient, text));
        }
        for not in &failed {
            tracing::error!(
                code = not.code,
                "an event can never be published: {}",
                not.message
            );
        }
        Ok(failed.is_empty())
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), lambda_runtime::Error> {
    let environment = Environment::of_process();
    let started = lambda::start(&environment)?;
    let basis = Basis::new(environment).await?;
    let machine = basis.environment.state_machine()?;
    let bus = basis.environment.event_bus()?;
    let listeners = Aws {
        machine: StepFunctions::connect(&basis.connection, machine).await,
        bus: EventBridge::connect(&basis.connection, bus).await,
    };
    let control = basis.control(Arc::new(NoBell), Arc::new(NoResolvers));
    let function = Function::new("events");
    lambda::serve(started, async |event| {
        events(&function, &control, &listeners, event).await
    })
    .await
}
