#[verk::worker]
async fn send(to: String) {
    drop(to);
}

fn spawn<T: Send>(task: T) {
    drop(task);
}

fn main() {
    spawn(1);
}
