# frozen_string_literal: true

# The forms of job that Sidekiq's options and Rails make: from Ruby to Rust, where they fail, and
# back to Ruby.

# As ActiveJob's adapter for Sidekiq does it.
def perform_later(*arguments, options: {})
  job_data = {
    "job_class" => "Payments::ChargeJob", "job_id" => "f3c1a0e4", "provider_job_id" => nil, "queue_name" => "default",
    "priority" => nil, "arguments" => arguments, "executions" => 0, "exception_executions" => {}, "locale" => "en",
    "timezone" => "UTC", "enqueued_at" => Time.now.utc.strftime("%FT%TZ"),
  }
  item = { "class" => "ActiveJob::QueueAdapters::SidekiqAdapter::JobWrapper", "wrapped" => "Payments::ChargeJob",
           "queue" => "default", "args" => [job_data] }
  Sidekiq::Client.push(item.merge(options))
end

OWN = { "tenant" => { "id" => 12_345_678_901_234_567_890, "rate" => 0.1, "path" => [], "none" => nil } }.freeze
SENT = OWN.merge("tags" => ["eu"], "locale" => "de", "bid" => "b-1", "cattr" => { "user_id" => 1 },
                 "display_class" => "Nightly charge").freeze

with_rust("default:5") do |rust|
  check "retry_queue: a job that fails in Rust waits for the queue that Ruby named" do
    jid = Payments::Charge.set(retry_queue: "slow").perform_async(2000, 9)
    rust.wait_for(jid)
    entry = wait_until("the retry") { retries.find_job(jid) }
    assert_equal %w[slow slow], [entry.queue, entry["retry_queue"]], "queue, retry_queue"
  end

  check "retry_for: a job that has no retries left, but time, is retried" do
    jid = Payments::Charge.set(retry: 0, retry_for: 3600).perform_async(2100, 9)
    rust.wait_for(jid)
    entry = wait_until("the retry") { retries.find_job(jid) }
    assert_equal 3600, entry["retry_for"], "retry_for"
  end

  check "retry_for: a job whose time is over dies" do
    jid = Payments::Charge.set(retry_for: 60, failed_at: Time.now.to_f - 61, retry_count: 0).perform_async(2200, 9)
    rust.wait_for(jid)
    assert_equal 1, wait_until("its death") { dead.find_job(jid) }["retry_count"], "retry_count"
  end

  check "tags, locale, bid, cattr, display_class and keys of one's own are kept, numbers to the digit" do
    jid = Payments::Charge.set(SENT.dup).perform_async(2300, 9)
    rust.wait_for(jid)
    entry = wait_until("the retry") { retries.find_job(jid) }
    assert_equal SENT, entry.item.slice(*SENT.keys), "kept keys"
    assert_equal ["Nightly charge", ["eu"]], [entry.display_class, entry.tags], "as Sidekiq Web shows it"
  end

  check "expires_in: what waited for too long is not run" do
    job = { "class" => "Payments::Charge", "args" => [2400, 1], "jid" => "expired", "queue" => "default",
            "enqueued_at" => Time.now.to_f - 61, "expires_in" => 60 }
    redis { |r| r.lpush("queue:default", JSON.generate(job)) }
    wait_until_idle
    assert_equal [], rust.runs_of("expired"), "runs"
    assert_equal [nil, nil], [retries.find_job("expired"), dead.find_job("expired")], "retry, dead"
  end

  check "encrypt: fails by name in Rust, and waits for somebody who can read it" do
    jid = Payments::Charge.set(encrypt: true).perform_async(2500, "BAhTOg==")
    entry = wait_until("the retry") { retries.find_job(jid) }
    assert_equal "EncryptedArgs", entry["error_class"], "error_class"
    assert_equal [2500, "BAhTOg=="], entry.args, "args"
    assert_equal [2500, "[encrypted data]"], entry.display_args, "as Sidekiq Web shows it"
  end

  check "ActiveJob's envelope is run by the Rust worker of the wrapped class" do
    jid = perform_later(2600, 1)
    run = rust.wait_for(jid)
    assert_equal ["Payments::ChargeJob", [2600, 1]], [run.class_name, run.args], "class and args"
  end

  check "ActiveJob's envelope fails in Rust and is still an envelope in Ruby's RetrySet" do
    jid = perform_later(2700, 9, options: { "retry" => 3, "tags" => ["job"] })
    rust.wait_for(jid)
    entry = wait_until("the retry") { retries.find_job(jid) }
    assert_equal "ActiveJob::QueueAdapters::SidekiqAdapter::JobWrapper", entry.klass, "class"
    assert_equal "Payments::ChargeJob", entry.display_class, "as Sidekiq Web shows it"
    assert_equal [2700, 9], entry.args.first["arguments"], "arguments"
    assert_equal [3, ["job"], 0], entry.item.values_at("retry", "tags", "retry_count"), "options"
  end
end

# Renames the queue that these wait in, and waits until each has failed in its new one.
rename_and_fail = lambda do |program, *jids|
  redis { |r| r.rename("queue:old", "queue:default") }
  jids.each { |jid| program.wait_for(jid) }
  wait_until("their retries") { (jids - retries.map(&:jid)).empty? }
end

check "a job of a renamed queue is retried in the queue that it was fetched from, by both" do
  push = ->(options) { Payments::Charge.set({ "queue" => "old" }.merge(options)).perform_async(2750, 9) }
  ruby = ->(&block) { with_sidekiq(%w[default], "FAIL" => "1", &block) }
  rust = ->(&block) { with_rust("default:5", &block) }
  queues = [ruby, rust].map do |with|
    jids = [push.call({}), push.call("retry_queue" => "slow")]
    with.call { |program| rename_and_fail.call(program, *jids) }
    jids.map { |jid| find(retries, jid).queue }
  end
  assert_equal [%w[default slow]] * 2, queues, "the queues of the retries, of Ruby and of Rust"
end

jid = nil
with_rust("default:5") do |rust|
  jid = Payments::Charge.set(SENT.merge("retry_queue" => "mailers")).perform_async(2800, 9)
  rust.wait_for(jid)
  wait_until("the retry") { retries.find_job(jid) }
end

with_sidekiq(%w[default mailers]) do |ruby|
  check "failed in Rust, retried by Ruby from the retry_queue" do
    make_due(retries, jid)
    assert_equal [2800, 9], ruby.wait_for(jid).args, "args"
    assert_equal nil, retries.find_job(jid), "in the retry set"
  end
end

with_rust("default:5", "VERK_TIME_FORMAT" => "milliseconds") do |rust|
  check "VERK_TIME_FORMAT=milliseconds: times as Sidekiq 8 writes them" do
    jid = Payments::Charge.perform_async(2900, 9)
    rust.wait_for(jid)
    failed_at = wait_until("the retry") { retries.find_job(jid) }["failed_at"]
    assert_between (Time.now.to_i - 60) * 1000..(Time.now.to_i + 60) * 1000, failed_at, "failed_at"
    assert failed_at.is_a?(Integer), "failed_at is #{failed_at.inspect}"
  end
end
