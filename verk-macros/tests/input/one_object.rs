#[verk::worker(class = "Orders::Charge")]
async fn charge(#[args] order: Order, State(bank): State<Bank>) -> Result<(), BankError> {
    bank.charge(order).await
}
