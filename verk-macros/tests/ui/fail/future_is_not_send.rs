use std::rc::Rc;

#[verk::worker]
async fn import(path: String) {
    let rc = Rc::new(path);
    std::future::ready(()).await;
    drop(rc);
}

fn main() {}
