fn class_of(_error: &String) -> Option<String> {
    None
}

#[verk::worker(error_class = class_of)]
async fn import() -> Result<(), String> {
    Ok(())
}

fn main() {}
