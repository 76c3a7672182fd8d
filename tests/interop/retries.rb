# frozen_string_literal: true

# Jobs that fail on one side and are retried on the other.

# The fields that a job keeps through every failure.
EXTRA = {
  "tags" => %w[vip eu],
  "trace" => { "id" => 12_345_678_901_234_567, "ratio" => 0.1, "path" => [] },
  "cattr" => { "user" => "gid://shop/User/1" },
}.freeze
KEPT = (EXTRA.keys + %w[class args jid queue created_at failed_at]).freeze

charge = ->(options, *args) { Payments::Charge.set(EXTRA.merge(options)).perform_async(*args) }
from_ruby = charge.call({}, 100, 2) # Ruby fails, Rust succeeds at the second attempt
to_and_fro = charge.call({}, 200, 9) # Ruby fails, Rust fails, Ruby succeeds
exhausted = charge.call({ "retry" => 1 }, 300, 9) # Ruby fails, then Rust, for the last time
from_rust = nil # Rust fails, Ruby fails, Rust succeeds at the third attempt
first = nil

with_sidekiq(%w[default], "FAIL" => "1") do |ruby|
  check "a job fails in Ruby" do
    [from_ruby, to_and_fro, exhausted].each { |jid| ruby.wait_for(jid) }
    wait_until("three retries") { retries.size == 3 }
    first = find(retries, to_and_fro).item
    assert_equal [0, "Payments::BankClosed"], first.values_at("retry_count", "error_class"), "retry_count, error_class"
  end
end

with_rust("default:5") do |rust|
  check "a job that failed in Ruby is retried by Rust, which knows that it is the second attempt" do
    make_due(retries, from_ruby)
    assert_equal [100, 2], rust.wait_for(from_ruby).args, "args"
    wait_until_idle
    assert_equal nil, retries.find_job(from_ruby), "in the retry set"
  end

  check "failed in Ruby, then in Rust: counted on, and every other key is kept" do
    make_due(retries, to_and_fro)
    rust.wait_for(to_and_fro)
    entry = wait_until("the second failure") { retries.find_job(to_and_fro)&.then { |e| e if e["retry_count"] == 1 } }
    assert_equal first.slice(*KEPT), entry.item.slice(*KEPT), "kept keys"
    assert_equal first["retry"], entry["retry"], "retry"
    assert_equal "ChargeError", entry["error_class"], "error_class"
    assert_between time_of(first["failed_at"])..(Time.now + 1), time_of(entry["retried_at"]), "retried_at"
    assert_equal [], first.keys - entry.item.keys, "keys that were lost"
    assert_equal ["caused by: the bank is closed"], entry.error_backtrace, "error_backtrace"
  end

  check "failed in Ruby and out of retries in Rust: dead, readable by Ruby's DeadSet" do
    make_due(retries, exhausted)
    entry = wait_until("its death") { dead.find_job(exhausted) }
    assert_equal 1, entry["retry_count"], "retry_count"
    assert_equal EXTRA, entry.item.slice(*EXTRA.keys), "kept keys"
    assert_equal nil, retries.find_job(exhausted), "in the retry set"
  end

  check "a job that Rust enqueued fails in Rust" do
    from_rust = rust_client["charge"].first
    rust.wait_for(from_rust)
    entry = wait_until("the retry") { retries.find_job(from_rust) }
    assert_equal [0, ["vip"]], [entry["retry_count"], entry.tags], "retry_count, tags"
    first = entry.item
  end
end

with_sidekiq(%w[default], "FAIL" => "1") do |ruby|
  check "failed in Rust, then in Ruby: counted on, and every other key is kept" do
    make_due(retries, from_rust)
    ruby.wait_for(from_rust)
    entry = wait_until("the second failure") { retries.find_job(from_rust)&.then { |e| e if e["retry_count"] == 1 } }
    assert_equal first.slice(*KEPT), entry.item.slice(*KEPT), "kept keys"
    assert_equal first["retry"], entry["retry"], "retry"
    assert_equal "Payments::BankClosed", entry["error_class"], "error_class"
    assert_equal [], first.keys - entry.item.keys, "keys that were lost"
  end
end

with_rust("default:5,mailers:5") do |rust|
  check "failed in Rust, then in Ruby, is retried by Rust, which knows that it is the third attempt" do
    make_due(retries, from_rust)
    rust.wait_for(from_rust)
    wait_until_idle
    assert_equal nil, retries.find_job(from_rust), "in the retry set"
  end
end

with_sidekiq(%w[default]) do |ruby|
  check "failed in Ruby, then in Rust, is retried by Ruby" do
    make_due(retries, to_and_fro)
    assert_equal [200, 9], ruby.wait_for(to_and_fro).args, "args"
    assert_equal nil, retries.find_job(to_and_fro), "in the retry set"
  end
end
