# frozen_string_literal: true

# How Rust handles jobs that fail, and bad input, as Ruby's API sees it.

with_rust("default:5,mailers:5") do |rust|
  check "a job that fails in Rust is in Ruby's RetrySet, as Sidekiq would have it" do
    started = Time.now
    jid = Payments::Charge.perform_async(1200, 2)
    rust.wait_for(jid)
    wait_until_idle
    entry = find(retries, jid)
    assert_equal 0, entry["retry_count"], "retry_count"
    assert_equal "ChargeError", entry["error_class"], "error_class"
    assert entry["error_message"].include?("1200 cents"), "error_message is #{entry["error_message"]}"
    assert_between (started - 1)..(Time.now + 1), Time.at(entry["failed_at"]), "failed_at"
    assert_equal nil, entry["retried_at"], "retried_at"
    assert_between (started - 1)..(Time.now + 1), entry.created_at, "created_at"
    assert_between (started + 15)..(Time.now + 80), entry.at, "due"
    assert_equal ["caused by: the bank is closed"], entry.error_backtrace, "error_backtrace"
  end

  check "'retry now' in Ruby makes Rust run the job again" do
    jid = retries.first.jid
    retries.first.retry
    rust.wait_for(jid, nth: 2)
    wait_until_idle
  end

  check "'kill' and then 'retry' in Ruby's dead set makes Rust run the job again" do
    jid = Payments::Charge.perform_async(1300, 2)
    rust.wait_for(jid)
    wait_until_idle
    find(retries, jid).kill
    assert_equal 0, retries.size, "in the retry set"
    find(dead, jid).retry
    rust.wait_for(jid, nth: 2)
  end

  check "a class that only Ruby has fails in Rust by name, and waits in the retry set" do
    jid = Reports::Print.perform_async("annual")
    entry = wait_until("the retry") { retries.find_job(jid) }
    assert_equal "UnknownClass", entry["error_class"], "error_class"
    assert entry["error_message"].include?("Reports::Print"), "error_message is #{entry["error_message"]}"
    assert entry.delete, "not deleted"
  end

  check "args of another shape fail in Rust, and the message says where" do
    jid = Mailers::Welcome.perform_async(1)
    entry = wait_until("the retry") { retries.find_job(jid) }
    assert_equal "ArgsError", entry["error_class"], "error_class"
    assert entry["error_message"].include?("Mailers::Welcome: argument 1"), "error_message is #{entry["error_message"]}"
    assert entry.delete, "not deleted"
  end

  check "retry: false in Ruby, failed in Rust: neither retried nor dead" do
    jid = Payments::Charge.set(retry: false).perform_async(1400, 9)
    rust.wait_for(jid)
    wait_until_idle
    assert_equal [nil, nil], [retries.find_job(jid), dead.find_job(jid)], "retry, dead"
  end

  check "retry: 0 in Ruby, failed in Rust: dead, and Ruby's DeadSet reads it" do
    started = Time.now
    jid = Payments::Charge.set(retry: 0).perform_async(1500, 9)
    rust.wait_for(jid)
    wait_until_idle
    entry = find(dead, jid)
    assert_equal ["ChargeError", 0, [1500, 9]], [entry["error_class"], entry["retry_count"], entry.args], "entry"
    assert_between (started - 1)..(Time.now + 1), entry.at, "time of death"
  end

  check "retry: 0 and dead: false in Ruby, failed in Rust: discarded" do
    jid = Payments::Charge.set(retry: 0, dead: false).perform_async(1600, 9)
    rust.wait_for(jid)
    wait_until_idle
    assert_equal [nil, nil], [retries.find_job(jid), dead.find_job(jid)], "retry, dead"
  end

  check "malformed payloads end in the dead set as they are, and the queue goes on" do
    malformed = ["{not json", "", "{\"class\":\"Mailers::Welcome\",\"args\":[\"\xFF\"],\"jid\":\"x".b]
    redis { |r| malformed.each { |payload| r.lpush("queue:mailers", payload) } }
    rust.wait_for(Mailers::Welcome.perform_async("after@example.com"))
    wait_until_idle
    members = redis { |r| r.zrange("dead", 0, -1) }.map(&:b)
    assert_equal [], malformed.map(&:b) - members, "not in the dead set"
  end

  check "Ruby's DeadSet lists all, the malformed among them" do
    assert_equal redis { |r| r.zcard("dead") }, dead.map(&:jid).size, "entries"
    assert_equal 1, dead.count { |entry| entry.klass == "Payments::Charge" }, "Charge jobs"
  end
end
